// What Gradio's image leaves out: its upload button asks for a file also while a photo is there, instead of removing it;
document.addEventListener('click', (click) => {
  if (!click.target.closest('#photo [aria-label="Upload file"]')) return;
  click.stopImmediatePropagation();
  document.querySelector('#photo input[type=file]').click();
}, true);
// a file whose ending the browser does not know, as HEIC, would be refused as no image: what it is the server sees;
const typed = (files) => {
  const known = new DataTransfer();
  for (const file of files) known.items.add(file.type ? file : new File([file], file.name, { type: 'image/heic' }));
  return known.files;
};
document.addEventListener('change', (change) => {
  if (change.target.matches('#photo input[type=file]')) change.target.files = typed(change.target.files);
}, true);
document.addEventListener('drop', (drop) => {
  const input = drop.target.closest('#photo')?.querySelector('input[type=file]');
  if (!input || [...drop.dataTransfer.files].every((file) => file.type)) return;
  drop.preventDefault();
  drop.stopImmediatePropagation();
  input.files = typed(drop.dataTransfer.files);
  input.dispatchEvent(new Event('change', { bubbles: true }));
}, true);
// a file that the browser cannot show either is not shown as a broken picture;
for (const [event, visibility] of [['load', ''], ['error', 'hidden']])
  document.addEventListener(event, ({target}) => {
    if (target instanceof Element && target.matches('#photo img')) target.style.visibility = visibility;
  }, true);
// and that browsers give no camera to such a page is said before somebody asks for it.
if (!navigator.mediaDevices) element.innerHTML = `<p class="note">Browsers give the camera only to pages over https or on this
  computer; open this page so, or choose a photo.</p>`;
