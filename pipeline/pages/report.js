// The report: fills galleries when they are needed, switches between networks, opens cells of confusion matrices.

const page = JSON.parse(document.getElementById("page-data").textContent);
const sounds = new Map();

function soundOf(number) {
  if (!sounds.has(number)) {
    const bytes = Uint8Array.from(atob(page.clips[number].sound), (character) => character.charCodeAt(0));
    sounds.set(number, URL.createObjectURL(new Blob([bytes], {type: "audio/flac"})));
  }
  return sounds.get(number);
}

function cardOf(number, network) {
  const clip = page.clips[number];
  const name = clip.p ? network || page.best : undefined;
  const probabilities = name && clip.p[name].map((share) => share / 10000);
  return makeCard({
    label: clip.label,
    heard: name && clip.heard[name],
    details: `${clip.set} clip ${clip.number}, row ${clip.row}${name ? `; ${name}` : ""}`,
    recording: clip.recording,
    sound: soundOf(number),
    picture: "data:image/webp;base64," + clip.picture,
    probabilities,
  }, page);
}

function fill(box, name) {
  const gallery = page.galleries[name];
  box.replaceChildren(...gallery.clips.map((number) => cardOf(number, gallery.network)));
  box.dataset.filled = "yes";
}

function choose(network) {
  for (const block of document.querySelectorAll("[data-network]")) block.hidden = block.dataset.network !== network;
  for (const box of document.querySelectorAll(".gallery[data-gallery]:not([data-filled])")) {
    if (!box.closest("[hidden]")) fill(box, box.dataset.gallery);
  }
}

for (const choice of document.querySelectorAll("input[name=network]")) {
  choice.addEventListener("change", () => choose(choice.value));
}

for (const button of document.querySelectorAll("button[data-cell]")) {
  button.addEventListener("click", () => {
    const block = button.closest("[data-network]");
    for (const other of block.querySelectorAll("button[data-cell]")) other.setAttribute("aria-pressed", other === button);
    const gallery = page.galleries[button.dataset.cell];
    const heading = block.querySelector(".cell-heading");
    heading.textContent = button.getAttribute("aria-label");
    const missing = gallery.total - gallery.clips.length;
    block.querySelector(".cell-note").textContent = missing
      ? `${gallery.clips.length} of ${gallery.total} clips are in this page. All of them: uv run features browse data/features/test.zarr`
      : "";
    fill(block.querySelector(".cell-gallery"), button.dataset.cell);
    block.querySelector(".cell").hidden = false;
    heading.focus();
  });
}

const chosen = document.querySelector("input[name=network]:checked");
choose(chosen && chosen.value);
