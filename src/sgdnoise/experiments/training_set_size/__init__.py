"""The boundary batch size and the rule of scaling against the size of the training set."""
