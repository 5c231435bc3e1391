"use strict";
// A clip to see and hear, from the page's <template id="card">. Text is set as text, never as HTML.

const percent = (share) => (100 * share).toFixed(1) + " %";

function placeTicks(box, ticks, side) {
  ticks.labels.forEach((label, at) => {
    const mark = document.createElement("span");
    mark.textContent = at === ticks.labels.length - 1 ? `${label} ${ticks.name}`.trim() : label;
    mark.style[side] = `${100 * ticks.places[at]}%`;
    box.append(mark);
  });
}

function word(text, parent) {
  const box = document.createElement("bdi");
  box.textContent = text;
  box.title = text;
  parent.append(box);
}

// clip: {label, heard, details, recording, sound, picture, probabilities}; words and ticks are the page's.
function makeCard(clip, page) {
  const card = document.getElementById("card").content.firstElementChild.cloneNode(true);
  const heading = card.querySelector("h4");
  word(page.words[clip.label], heading);
  let spoken = page.words[clip.label];
  if (clip.heard !== undefined && clip.heard !== clip.label) {
    heading.append(" heard as ");
    word(page.words[clip.heard], heading);
    spoken += " heard as " + page.words[clip.heard];
  }
  card.querySelector(".details").textContent = clip.details;
  if (clip.recording) word(clip.recording, card.querySelector(".recording"));
  else card.querySelector(".recording").remove();
  const image = card.querySelector("img");
  if (clip.picture) {
    image.src = clip.picture;
    image.addEventListener("error", () => card.querySelector(".spectrogram").replaceWith("The picture cannot be read."));
    image.alt = `Spectrogram of ${spoken}`;
    placeTicks(card.querySelector(".up"), page.frequency_ticks, "bottom");
    placeTicks(card.querySelector(".along"), page.time_ticks, "left");
  } else {
    card.querySelector(".spectrogram").remove();
  }
  const audio = card.querySelector("audio");
  if (clip.sound) {
    audio.src = clip.sound;
    audio.setAttribute("aria-label", `${spoken}, ${clip.details}`);
  } else {
    audio.remove();
  }
  const bars = card.querySelector(".bars");
  if (clip.probabilities) {
    clip.probabilities.forEach((share, at) => {
      const line = document.createElement("li");
      word(page.words[at], line);
      const bar = document.createElement("i");
      bar.style.width = `${100 * share}%`;
      const number = document.createElement("span");
      number.textContent = percent(share);
      line.append(bar, number);
      line.classList.toggle("said", at === clip.label);
      line.classList.toggle("heard", at === clip.heard);
      bars.append(line);
    });
  } else {
    bars.remove();
  }
  return card;
}
