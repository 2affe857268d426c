"""ContextGNN (Yuan et al. 2024, arXiv 2411.19513), one part a file."""
