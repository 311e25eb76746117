"""Dynamic scenes from textured meshes, drawn on the graphics side (extra `synthetic`)."""
