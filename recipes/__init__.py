"""Complete trainings, each a package with a README. They run from the checkout: `python -m recipes.phrases.train`."""
