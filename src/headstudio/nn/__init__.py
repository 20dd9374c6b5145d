"""Network blocks: image similarity, perceptual features, decoders. Pure torch; knows no record and no method."""
