(file) => {
  // The file goes into the page and from there to the visitor: nothing is left on the server.
  if (!file) return;
  const anchor = document.createElement('a');
  anchor.href = `data:${file.type};base64,${file.content}`;
  anchor.download = file.name;
  anchor.click();
}
