"""What an assistant may ask over the Model Context Protocol: reports and mere plans. May not act, nor read a system itself."""
