"""From a file a person has to the tokens a model trains on: readers, mapping, templates, masks, order."""
