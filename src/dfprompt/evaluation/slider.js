for (const pair of document.querySelectorAll(".pair")) {
  const range = pair.querySelector("input");
  pair.classList.add("live");
  range.addEventListener("input", () => pair.style.setProperty("--cut", range.value + "%"));
}
