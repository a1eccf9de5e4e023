"""The console: pages rendered here, useful without JavaScript, live with it."""
