"""The domain of ICS: types, rules and formats. Pure: no AWS client, no environment variable, no other room."""
