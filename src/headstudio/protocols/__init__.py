"""Faces in the formats of others: Live Link Face, iFacialMocap and VMC, over UDP and in recordings of packets."""
