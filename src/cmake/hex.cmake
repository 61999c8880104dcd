# Sets `out` to the bytes of `file` as the inside of a C array initialiser, with a 0 behind them that isn't counted.
function(lc_hex file out)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  set(${out} "${hex}0x00" PARENT_SCOPE)
endfunction()
