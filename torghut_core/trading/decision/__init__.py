"""What an intent is and how many shares it stands for. Pure: no clock, no engine, no broker."""
