(gallery, recipe, index, k) => {
  // Keeps the address of the page that of the choices made, so that it can be sent to somebody or kept.
  const choices = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries({gallery, recipe, index, k})) choices.set(name, value);
  if (gallery.startsWith('own-')) choices.delete('gallery');  // whoever had the link would have the photos
  history.replaceState(null, '', `?${choices}`);
}
