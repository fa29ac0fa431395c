"""Other tools' formats and interfaces, spoken by guardeval."""
