"""From the picture of a face to what it expresses, whoever it is."""
