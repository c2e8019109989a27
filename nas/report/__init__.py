"""What people look at: TensorBoard events, pictures, tables and drawings."""
