"""The page's parts and what they do: with app.py the only modules that import gradio."""
