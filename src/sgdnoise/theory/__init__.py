"""Theory in closed form, with numpy and scipy only: no torch below this line."""
