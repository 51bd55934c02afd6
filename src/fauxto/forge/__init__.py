"""From real photographs to a labelled data set of their own fakes, by a zoo of small generators that is trained on the spot."""
