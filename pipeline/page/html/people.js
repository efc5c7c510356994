// A click chooses a face or leaves it out; the page's handlers are told which are chosen now.
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[aria-pressed]');
  if (!button) return;
  button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') !== 'true');
  trigger('select', {faces: [...element.querySelectorAll('[aria-pressed=true]')].map((one) => one.dataset.photo)});
});
