"""The studio: a camera path designed by hand in the browser, seen at once, generated, compared."""
