"""Models on this computer: what their files say, without torch."""
