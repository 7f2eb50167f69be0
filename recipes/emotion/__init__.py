"""Fine-tuning of a speech classifier, such as of emotions, and its evaluation on speakers held out of training."""
