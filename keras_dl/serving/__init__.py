"""Export to SavedModel, and what TF Serving needs around it."""
