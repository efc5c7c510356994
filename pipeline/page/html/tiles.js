// A click on a button with data-event="select" becomes the component's event `select`, and so on.
element.addEventListener('click', (click) => {
  const button = click.target.closest('button[data-event]');
  if (button) trigger(button.dataset.event, {...button.dataset});
});
