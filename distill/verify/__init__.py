"""AP of an exported file against the detector it was made from, and repair of what drifts."""
