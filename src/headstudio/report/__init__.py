"""Reports: one self-contained HTML file each, readable on a phone, in light and dark, without a network."""
