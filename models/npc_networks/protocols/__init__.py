"""The evaluation protocols of public data sets, to the digit: structures, metrics, and rules for what is empty."""
