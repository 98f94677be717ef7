"""Where the papers disagree: its grid; its findings are to come."""
