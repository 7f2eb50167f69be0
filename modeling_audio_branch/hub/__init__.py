"""Publishing on the Hugging Face Hub: a checkpoint becomes a repository that loads without this package."""
