# Compiler and linker flags of every target: language, warnings, hardening, sanitizers.
include(CheckCCompilerFlag)
include(CheckIPOSupported)

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Position-independent programs. Not CMake's own switch: it compiles static libraries as if for a shared one, which keeps
# the compiler from inlining between their functions.
add_compile_options(-fPIE)
add_link_options(-pie)

# Debug information stays in Release, for profilers and for a stack in a core dump.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-Og -g3")

# Empty, so that a file which defines it itself doesn't redefine it.
add_compile_definitions(_GNU_SOURCE=)

# gcc can't inline at -Og all that xxhash.h says must be.
add_compile_definitions($<$<CONFIG:Debug>:XXH_NO_INLINE_HINTS=1>)

# What a target of ours compiles with; generated sources do without.
add_library(lc_warnings INTERFACE)
target_compile_options(lc_warnings INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes
                                             -Wmissing-prototypes -Wvla $<$<BOOL:${LC_WERROR}>:-Werror>)

if(LC_ASAN AND LC_TSAN)
  message(FATAL_ERROR "LC_ASAN and LC_TSAN exclude each other: choose one")
endif()

if(LC_ASAN)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(LC_TSAN)
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
  check_c_compiler_flag(-fstack-clash-protection LC_HAVE_STACK_CLASH)
  if(LC_HAVE_STACK_CLASH)
    add_compile_options(-fstack-clash-protection)
  endif()
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()

if(LC_FAULTS)
  add_compile_definitions(LC_FAULTS=1)
endif()

if(LC_LTO)
  check_ipo_supported(RESULT LC_HAVE_IPO OUTPUT why LANGUAGES C)
  if(LC_HAVE_IPO)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  else()
    message(STATUS "LC_LTO: the compiler can't, building without")
  endif()
endif()
