"""What is wrong with a data set: arrays in, findings out."""
