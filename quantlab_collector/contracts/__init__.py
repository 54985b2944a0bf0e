"""What the data is: the words everything else is written in. Pure, and below every other floor."""
