// A click marks a face, or no longer.
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[aria-pressed]');
  if (button) button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') !== 'true');
});
