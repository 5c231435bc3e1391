// Leafing through a store: asks the server for a page of clips, shows them, saves marks.

const page = JSON.parse(document.getElementById("page-data").textContent);
const form = document.querySelector("form");
const box = document.getElementById("clips");
const state = document.getElementById("status");
let number = 0;
let asked = 0;
let pages = 1;

function details(clip) {
  const measures = clip.loudness_db === undefined ? "" :
    `; ${clip.loudness_db.toFixed(0)} dB, speech spans ${clip.speech_s.toFixed(2)} s, ${clip.silence_s.toFixed(2)} s are silent` +
    (clip.clipped_samples ? `, ${clip.clipped_samples} clipped samples` : "");
  return `${clip.set} clip ${clip.number}, row ${clip.row}${measures}`;
}

function markButtons(clip) {
  const group = document.createElement("div");
  group.className = "marks";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Mark ${clip.set} clip ${clip.number}`);
  const told = document.createElement("p");
  told.setAttribute("role", "status");
  for (const mark of page.marks) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = mark;
    button.setAttribute("aria-pressed", clip.mark === mark);
    button.addEventListener("click", async () => {
      const wanted = clip.mark === mark ? "" : mark;
      told.textContent = await send("mark", {set: clip.set, number: clip.number, mark: wanted});
      if (!told.textContent.startsWith("Saved")) return;
      clip.mark = wanted;
      for (const other of group.querySelectorAll("button")) other.setAttribute("aria-pressed", other.textContent === wanted);
    });
    group.append(button);
  }
  group.append(told);
  return group;
}

// Sends a change to the server; returns what became of it, in words.
async function send(path, content) {
  const answer = await fetch(path, {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify(content),
  }).catch(() => null);
  if (!answer) return "Not saved: the server does not answer. Start features browse again.";
  if (!answer.ok) return "Not saved: " + await answer.text();
  return `Saved in marks.tsv. Clips marked so far: ${(await answer.json()).marks}.`;
}

function showLeftOut(marks) {
  const details = document.getElementById("left-out");
  details.hidden = !marks.length;
  details.querySelector("summary").textContent = `Marked clips that are in no set: ${marks.length}`;
  details.querySelector("ul").replaceChildren(...marks.map((mark) => {
    const line = document.createElement("li");
    word(mark.word, line);
    line.append(`, row ${mark.row}: ${mark.mark} `);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "take the mark back";
    button.addEventListener("click", async () => {
      const told = await send("unmark", {digest: mark.digest, word: mark.word});
      if (told.startsWith("Saved")) line.replaceChildren(told + " The next dvc repro uses the clip again.");
      else line.append(told);
    });
    line.append(button);
    return line;
  }));
}

async function listen(clip, audio) {
  const answer = await fetch(`sound/${encodeURIComponent(clip.set)}/${clip.number}`).catch(() => null);
  if (!answer || !answer.ok) {
    audio.replaceWith(answer ? await answer.text() : "The sound did not arrive.");
    return;
  }
  const sound = await answer.blob();
  if (audio.isConnected) audio.src = URL.createObjectURL(sound);
}

function dropSounds() {
  for (const audio of box.querySelectorAll("audio[src]")) {
    const address = audio.src;
    audio.removeAttribute("src");
    audio.load();  // otherwise it may still be reading what is dropped next
    URL.revokeObjectURL(address);
  }
}

function tellMeasuring({measured, damage}) {
  const left = page.clips - measured;
  document.getElementById("measuring").textContent = !page.can_measure
    ? "The waveforms of some clips are not there: no sound, and no order by loudness."
    : left ? `${left.toLocaleString("en")} clips are still to be measured; in an order by loudness, speech or silence they come last.` : damage;
  return page.can_measure && left;
}

async function watchMeasuring() {
  const answer = await fetch("clips?page=0").catch(() => null);
  if (!answer || !answer.ok) return;
  if (tellMeasuring(await answer.json())) setTimeout(watchMeasuring, 1000);
  else if (form.order.value !== "number") show();
}

async function show() {
  const mine = ++asked;
  const wanted = new URLSearchParams(new FormData(form));
  wanted.set("page", number);
  const answer = await fetch("clips?" + wanted).catch(() => null);
  if (mine !== asked) return;
  if (!answer || !answer.ok) {
    state.textContent = answer ? await answer.text() : "The server does not answer: start features browse again.";
    return;
  }
  const found = await answer.json();
  dropSounds();
  box.replaceChildren(...found.clips.map((clip) => {
    const card = makeCard({...clip, details: details(clip), sound: undefined,
      picture: clip.picture && `picture/${encodeURIComponent(clip.set)}/${clip.number}`}, page);
    if (clip.sound) {
      const audio = document.createElement("audio");
      audio.controls = true;
      audio.setAttribute("aria-label", `${page.words[clip.label]}, ${clip.set} clip ${clip.number}`);
      card.append(audio);
      listen(clip, audio);
    }
    card.append(markButtons(clip));
    return card;
  }));
  state.textContent = `${found.total.toLocaleString("en")} clips` + (found.total ? "" : ": choose other filters.");
  document.getElementById("page").textContent = `page ${found.page + 1} of ${found.pages}`;
  for (const [name, isAtEnd] of [["back", number === 0], ["next", number + 1 >= found.pages]]) {
    document.getElementById(name).setAttribute("aria-disabled", isAtEnd);  // it keeps the keyboard's focus
  }
  pages = found.pages;
  showLeftOut(found.left_out);
  tellMeasuring(found);
}

form.addEventListener("change", () => { number = 0; show(); });
form.addEventListener("submit", (event) => event.preventDefault());  // Enter changes the field, too
for (const [name, step] of [["back", -1], ["next", 1]]) {
  document.getElementById(name).addEventListener("click", () => {
    if (number + step < 0 || number + step >= pages) return;
    number += step;
    show();
    scrollTo(0, 0);
  });
}
show();
watchMeasuring();
