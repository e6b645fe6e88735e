"""DICOM: ``format.py`` reads an image, ``source.py`` a folder, ``masks.py`` SEG and RTSTRUCT; the rest serves them."""
