;; Copies many ranges: see memory.ts. The bytes in copy_module.ts are this text as wat2wasm (wabt) assembles it.
(module
  (import "" "memory" (memory 0))

  ;; Targets, sources and lengths are arrays of words in the memory.
  (func (export "copy") (param $targets i32) (param $sources i32) (param $lengths i32) (param $count i32)
    (local $end i32) (local $target i32) (local $source i32) (local $length i32) (local $tail i32) (local $last i32)
    (local $distance i32) (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local.set $end (i32.add (local.get $targets) (i32.shl (local.get $count) (i32.const 2))))
    (loop $ranges
      (if (i32.eq (local.get $targets) (local.get $end)) (then (return)))
      (local.set $target (i32.load (local.get $targets)))
      (local.set $source (i32.load (local.get $sources)))
      (local.set $length (i32.load (local.get $lengths)))
      (local.set $targets (i32.add (local.get $targets) (i32.const 4)))
      (local.set $sources (i32.add (local.get $sources) (i32.const 4)))
      (local.set $lengths (i32.add (local.get $lengths) (i32.const 4)))
      ;; Shorter than 32 bytes, or longer than 192: then memory.copy is the faster way, or fast enough.
      (if (i32.gt_u (i32.sub (local.get $length) (i32.const 32)) (i32.const 160))
        (then
          (memory.copy (local.get $target) (local.get $source) (local.get $length))
          (br $ranges)))
      (local.set $last (i32.sub (i32.add (local.get $source) (local.get $length)) (i32.const 32)))
      (local.set $tail (i32.sub (i32.add (local.get $target) (local.get $length)) (i32.const 32)))
      ;; Up to 64 bytes: the first half and the last half, which may overlap. All is read before anything is written.
      (if (i32.le_u (local.get $length) (i32.const 64))
        (then
          (local.set $a (v128.load align=1 (local.get $source)))
          (local.set $b (v128.load offset=16 align=1 (local.get $source)))
          (local.set $c (v128.load align=1 (local.get $last)))
          (local.set $d (v128.load offset=16 align=1 (local.get $last)))
          (v128.store align=1 (local.get $target) (local.get $a))
          (v128.store offset=16 align=1 (local.get $target) (local.get $b))
          (v128.store align=1 (local.get $tail) (local.get $c))
          (v128.store offset=16 align=1 (local.get $tail) (local.get $d))
          (br $ranges)))
      ;; The ranges overlap: -length < distance < length.
      (local.set $distance (i32.sub (local.get $target) (local.get $source)))
      (if
        (i32.lt_u
          (i32.add (local.get $distance) (i32.sub (local.get $length) (i32.const 1)))
          (i32.sub (i32.shl (local.get $length) (i32.const 1)) (i32.const 1)))
        (then
          (memory.copy (local.get $target) (local.get $source) (local.get $length))
          (br $ranges)))
      (loop $parts
        (v128.store align=1 (local.get $target) (v128.load align=1 (local.get $source)))
        (v128.store offset=16 align=1 (local.get $target) (v128.load offset=16 align=1 (local.get $source)))
        (local.set $target (i32.add (local.get $target) (i32.const 32)))
        (local.set $source (i32.add (local.get $source) (i32.const 32)))
        (br_if $parts (i32.lt_u (local.get $source) (local.get $last))))
      ;; The last 32 bytes, even if some of them were copied before.
      (v128.store align=1 (local.get $tail) (v128.load align=1 (local.get $last)))
      (v128.store offset=16 align=1 (local.get $tail) (v128.load offset=16 align=1 (local.get $last)))
      (br $ranges)))

  ;; The 16 bytes before each of the offsets: targets and offsets are arrays of words in the memory.
  (func (export "copyHeads") (param $targets i32) (param $offsets i32) (param $count i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $targets) (i32.shl (local.get $count) (i32.const 2))))
    (loop $heads
      (if (i32.eq (local.get $targets) (local.get $end)) (then (return)))
      (v128.store align=1
        (i32.load (local.get $targets))
        (v128.load align=1 (i32.sub (i32.load (local.get $offsets)) (i32.const 16))))
      (local.set $targets (i32.add (local.get $targets) (i32.const 4)))
      (local.set $offsets (i32.add (local.get $offsets) (i32.const 4)))
      (br $heads))))
