"""Who asks for what when: day profiles, behaviour mixes, sessions. Pure and seeded."""
