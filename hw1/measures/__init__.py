"""What is measured on a trained net, one idea a file; every measure takes any built Keras model."""
