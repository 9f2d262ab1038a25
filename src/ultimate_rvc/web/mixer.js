// All stems of a song at the same moment: WAV files of 32-bit floats, fetched in portions and put on one time line, so
// that an hour of eight stems takes no more memory than a minute, and no stem drifts from another. The song itself, in
// whatever format it came, is decoded whole.
(() => {
  const PORTION_SECONDS = 4, AHEAD_SECONDS = 8, LOOK_MS = 200, START_SECONDS = 0.1, FLOATS = 3;

  async function bytes(url, first, last) {
    const answer = await fetch(url, { headers: { Range: `bytes=${first}-${last}` } });
    if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
    const buffer = await answer.arrayBuffer();
    return answer.status === 206 ? buffer : buffer.slice(first, last + 1);
  }

  // Where the samples of a WAV or RF64 file of floats are, such as `wave_file.py` writes; null for another file.
  async function open(url) {
    const view = new DataView(await bytes(url, 0, 1023));
    const name = (place) => String.fromCharCode(...new Uint8Array(view.buffer, place, 4));
    const file = { url, long: null };
    for (let place = 12; place + 8 <= view.byteLength;) {
      const kind = name(place), size = view.getUint32(place + 4, true);
      if (kind === "ds64") file.long = Number(view.getBigUint64(place + 16, true));
      if (kind === "fmt ") {
        if (view.getUint16(place + 8, true) !== FLOATS) return null;
        file.channels = view.getUint16(place + 10, true);
        file.rate = view.getUint32(place + 12, true);
      }
      if (kind === "data") {
        file.start = place + 8;
        file.frames = Math.floor((file.long ?? size) / (4 * file.channels));
        file.seconds = file.frames / file.rate;
        return file;
      }
      place += 8 + size + (size % 2);
    }
    return null;
  }

  class Mixer extends HTMLElement {
    connectedCallback() {
      if (this.rows) return;
      this.words = JSON.parse(this.dataset.words);
      this.rows = [...this.querySelectorAll("li")];
      this.button = this.querySelector(".play");
      this.slider = this.querySelector(".position");
      this.place = 0;
      this.button.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      for (const row of this.rows) {
        for (const button of row.querySelectorAll("button")) {
          button.addEventListener("click", () => {
            button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
            this.level();
          });
        }
        row.querySelector(".volume").addEventListener("input", () => this.level());
      }
      this.other = (event) => event.detail !== this && this.pause();
      document.addEventListener("urvc-plays", this.other);
    }

    disconnectedCallback() {
      document.removeEventListener("urvc-plays", this.other);
      this.pause();
      this.context?.close();
      this.context = null;
    }

    // The files of every row, each with the second at which it begins; pieces of a long song share a little.
    async prepare() {
      if (!this.tracks) {
        const found = await Promise.all(
          this.rows.map(async (row) => ({ row, files: await Promise.all(JSON.parse(row.dataset.parts).map(open)) })));
        const rate = found.flatMap((track) => track.files).find(Boolean)?.rate;
        this.context ??= new AudioContext(rate ? { sampleRate: rate } : {});
        for (const track of found) {
          track.files = await Promise.all(track.files.map((file, number) =>
            file ?? this.decoded(JSON.parse(track.row.dataset.parts)[number])));
          let begins = 0;
          for (const file of track.files) {
            file.begins = begins;
            begins += file.seconds - Number(this.dataset.shared);
          }
          track.seconds = begins + Number(this.dataset.shared);
          track.gain = this.context.createGain();
          track.gain.connect(this.context.destination);
        }
        this.tracks = found;
      }
      this.seconds = Math.max(...this.tracks.map((track) => track.seconds));
      this.slider.max = this.seconds;
      this.level();
    }

    async decoded(url) {
      const whole = await this.context.decodeAudioData(await (await fetch(url)).arrayBuffer());
      return {
        whole, channels: whole.numberOfChannels, rate: whole.sampleRate, frames: whole.length, seconds: whole.duration,
      };
    }

    audible() {
      const pressed = (row, name) => row.querySelector(`.${name}`).getAttribute("aria-pressed") === "true";
      const alone = this.rows.some((row) => pressed(row, "solo"));
      return this.rows.map((row) => (alone ? pressed(row, "solo") : !pressed(row, "mute")));
    }

    level() {
      const heard = this.audible();
      this.rows.forEach((row, number) => row.toggleAttribute("data-heard", heard[number]));
      this.tracks?.forEach((track, number) => {
        const volume = heard[number] ? Number(track.row.querySelector(".volume").value) : 0;
        track.gain?.gain.setTargetAtTime(volume, this.context.currentTime, 0.01); // no click
      });
    }

    async play() {
      this.playing = true;
      this.show();
      document.dispatchEvent(new CustomEvent("urvc-plays", { detail: this }));
      try {
        await this.prepare();
        await this.context.resume();
      } catch (error) {
        this.fail(error);
        return;
      }
      if (this.playing) this.begin(this.place >= this.seconds - 0.05 ? 0 : this.place);
    }

    begin(place) {
      this.stop();
      const run = { sources: new Set(), fetched: place, zero: null };
      this.run = run;
      this.place = place;
      const look = async () => {
        if (this.run !== run) return;
        try {
          while (this.run === run && run.fetched < Math.min(this.now() + AHEAD_SECONDS, this.seconds)) await this.fill(run);
        } catch (error) {
          if (this.run === run) this.fail(error);
          return;
        }
        if (this.run !== run) return;
        this.show();
        if (this.now() >= this.seconds) {
          this.place = 0;
          this.pause();
        } else setTimeout(look, LOOK_MS);
      };
      look();
    }

    // The next portion of every track; the line of time begins when the first portion is here.
    async fill(run) {
      const from = run.fetched, to = Math.min(from + PORTION_SECONDS, this.seconds);
      const portions = await Promise.all(this.tracks.map((track) => Promise.all(
        track.files.map((file, place) => this.portion(file, track.files[place + 1]?.begins, from, to)))));
      if (this.run !== run) return;
      run.zero ??= this.context.currentTime + START_SECONDS - from;
      portions.forEach((found, number) => found.filter(Boolean).forEach(({ buffer, second }) => {
        const source = new AudioBufferSourceNode(this.context, { buffer });
        source.connect(this.tracks[number].gain);
        source.addEventListener("ended", () => run.sources.delete(source));
        source.start(run.zero + second, 0);
        run.sources.add(source);
      }));
      run.fetched = to;
    }

    // What of a file sounds between two seconds of the song, until the next file begins, and the second at which it does.
    async portion(file, ends, from, to) {
      const first = Math.max(0, Math.round((from - file.begins) * file.rate));
      const until = Math.min(to, ends ?? to) - file.begins;
      const last = Math.min(file.frames, Math.round(until * file.rate));
      if (last <= first) return null;
      const buffer = this.context.createBuffer(file.channels, last - first, file.rate);
      const frame = 4 * file.channels;
      const data = file.whole ? null : new Float32Array(
        await bytes(file.url, file.start + first * frame, file.start + last * frame - 1));
      for (let channel = 0; channel < file.channels; channel++) {
        const samples = buffer.getChannelData(channel);
        if (file.whole) file.whole.copyFromChannel(samples, channel, first);
        else for (let at = 0; at < samples.length; at++) samples[at] = data[at * file.channels + channel];
      }
      return { buffer, second: file.begins + first / file.rate };
    }

    now() {
      return this.run?.zero == null ? this.place : Math.max(this.place, this.context.currentTime - this.run.zero);
    }

    stop() {
      const run = this.run;
      this.run = null;
      run?.sources.forEach((source) => source.stop());
    }

    pause() {
      if (this.run) this.place = Math.min(this.now(), this.seconds);
      this.playing = false;
      this.stop();
      this.show();
    }

    async seek(second) {
      this.place = second;
      if (this.playing && this.seconds) this.begin(second);
      else {
        await this.prepare().catch((error) => this.fail(error));
        this.show();
      }
    }

    fail(error) {
      console.warn(error);
      this.pause();
      this.querySelector(".problem").textContent = this.words.unplayable;
    }

    show() {
      const now = this.now();
      this.toggleAttribute("data-playing", Boolean(this.playing));
      this.button.setAttribute("aria-label", this.playing ? this.words.pause : this.words.play);
      this.slider.value = now;
      const told = `${urvcClock(now)} / ${urvcClock(this.seconds ?? 0)}`;
      this.slider.setAttribute("aria-valuetext", told);
      this.querySelector(".time").textContent = told;
    }
  }
  customElements.define("urvc-mixer", Mixer);
})();
