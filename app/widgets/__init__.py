"""Small independent parts of the window; they know the theme, no page and no store."""
