"""A gallery: upload photographs, workers cut the thumbnails, editors may delete. Start reading at app.py."""
