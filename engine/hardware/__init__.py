"""What the computer is made of and how busy it is."""
