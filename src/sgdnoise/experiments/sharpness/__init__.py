"""What limits the learning rate: sharpness, batch sharpness, and what warm-up does to them."""
