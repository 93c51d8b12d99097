;; Copies many ranges: see memory.ts. The bytes in copy_module.ts are this text as wat2wasm (wabt) assembles it.
(module
  (import "" "memory" (memory 0))
  ;; Targets, sources and lengths are arrays of words in the memory.
  (func (export "copy") (param $targets i32) (param $sources i32) (param $lengths i32) (param $count i32)
    (local $end i32) (local $target i32) (local $source i32) (local $length i32) (local $distance i32)
    (local $last i32)
    (local.set $end (i32.add (local.get $targets) (i32.shl (local.get $count) (i32.const 2))))
    (loop $ranges
      (if (i32.eq (local.get $targets) (local.get $end)) (then (return)))
      (local.set $target (i32.load (local.get $targets)))
      (local.set $source (i32.load (local.get $sources)))
      (local.set $length (i32.load (local.get $lengths)))
      (local.set $targets (i32.add (local.get $targets) (i32.const 4)))
      (local.set $sources (i32.add (local.get $sources) (i32.const 4)))
      (local.set $lengths (i32.add (local.get $lengths) (i32.const 4)))
      (local.set $distance (i32.sub (local.get $target) (local.get $source)))
      (if
        (i32.or
          ;; Shorter than 16 bytes, or longer than 192: then memory.copy is the faster way.
          (i32.gt_u (i32.sub (local.get $length) (i32.const 16)) (i32.const 176))
          ;; The ranges overlap: -length < distance < length.
          (i32.lt_u
            (i32.add (local.get $distance) (i32.sub (local.get $length) (i32.const 1)))
            (i32.sub (i32.shl (local.get $length) (i32.const 1)) (i32.const 1))))
        (then
          (memory.copy (local.get $target) (local.get $source) (local.get $length))
          (br $ranges)))
      (local.set $last (i32.sub (i32.add (local.get $source) (local.get $length)) (i32.const 16)))
      (loop $words
        (if (i32.lt_u (local.get $source) (local.get $last))
          (then
            (v128.store align=1 (local.get $target) (v128.load align=1 (local.get $source)))
            (local.set $target (i32.add (local.get $target) (i32.const 16)))
            (local.set $source (i32.add (local.get $source) (i32.const 16)))
            (br $words))))
      ;; The last sixteen bytes, even if some of them were copied before.
      (v128.store align=1
        (i32.add (local.get $last) (local.get $distance))
        (v128.load align=1 (local.get $last)))
      (br $ranges))))
