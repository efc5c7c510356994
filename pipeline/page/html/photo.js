// What Gradio's image leaves out: its upload button asks for a file also while a photo is there, instead of removing it;
document.addEventListener('click', (click) => {
  if (!click.target.closest('#photo [aria-label="Upload file"]')) return;
  click.stopImmediatePropagation();
  document.querySelector('#photo input[type=file]').click();
}, true);
// and that browsers give no camera to such a page is said before somebody asks for it.
if (!navigator.mediaDevices) element.innerHTML = `<p class="note">Browsers give the camera only to pages over https or on this
  computer; open this page so, or choose a photo.</p>`;
