"""Studies: what ran is what is saved, in one folder that statistics and report can be made from again."""
