"""What the rows show: one file a question, with its figure, its claims and its comment. No TensorFlow here."""
