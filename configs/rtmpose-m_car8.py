# RTMPose-m that finds the 8 keypoints of car8 in 'data/coco'. Emitted by `posetools config`.
# The stock tools/train.py and tools/test.py of mmpose run it as it is; posetools is not imported.
# Stated is only what differs from the stock recipe, with the reason:
_base_ = 'mmpose::body_2d_keypoint/rtmpose/coco/rtmpose-m_8xb256-420e_coco-256x192.py'

# data ---------------------------------------------------------------------------------------------
data_root = 'data/coco'  # seen from the folder in which training is started
# The skeleton car8; `swap` is the keypoint's name in a mirrored picture.
metainfo = dict(
    dataset_name='car8',
    keypoint_info={
        0: dict(id=0, name='left-front-bumper', swap='right-front-bumper', type='', color=[0, 0, 255]),
        1: dict(id=1, name='left-rear-bumper', swap='right-rear-bumper', type='', color=[255, 0, 0]),
        2: dict(id=2, name='left-front-tire', swap='right-front-tire', type='', color=[255, 100, 0]),
        3: dict(id=3, name='left-rear-tire', swap='right-rear-tire', type='', color=[0, 255, 0]),
        4: dict(id=4, name='right-front-bumper', swap='left-front-bumper', type='', color=[0, 255, 255]),
        5: dict(id=5, name='right-rear-bumper', swap='left-rear-bumper', type='', color=[193, 182, 255]),
        6: dict(id=6, name='right-front-tire', swap='left-front-tire', type='', color=[193, 100, 255]),
        7: dict(id=7, name='right-rear-tire', swap='left-rear-tire', type='', color=[16, 144, 247]),
    },
    skeleton_info={
        0: dict(id=0, link=('left-front-bumper', 'left-rear-bumper'), color=[100, 150, 200]),
        1: dict(id=1, link=('left-front-tire', 'left-rear-tire'), color=[200, 100, 150]),
        2: dict(id=2, link=('right-front-bumper', 'right-rear-bumper'), color=[150, 120, 100]),
        3: dict(id=3, link=('right-front-tire', 'right-rear-tire'), color=[150, 120, 0]),
    },
    joint_weights=[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    sigmas=[0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])

# schedule -----------------------------------------------------------------------------------------
max_epochs = 210  # the rest of the schedule follows from it
stage2_num_epochs = 20  # the last ones, with weaker augmentation
val_interval = 10  # epochs
batch_size = 32  # on one device
val_batch_size = 8
num_workers = 4  # processes per loader; more where cores are free
persistent_workers = num_workers > 0  # torch refuses to keep workers where there are none
# The stock rate is for batches of 1024. Adam's goes with the square root of the batch
# (Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, 2022).
base_lr = 0.004 * (batch_size / 1024)**0.5  # 0.00071
# Stock warms up for 1000 iterations whatever the data; on a small set that is most of the run.
iterations = max_epochs * -(-12 // batch_size)  # 210: 12 objects an epoch
warmup_iters = min(1000, max(2, iterations // 10))  # 21

train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
# `--auto-scale-lr` (several GPUs) scales from this batch.
auto_scale_lr = dict(base_batch_size=batch_size)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),
    dict(  # the first half at base_lr, then down to a twentieth of it
        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,
        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)
]
default_hooks = dict(checkpoint=dict(
    max_keep_ckpts=2,  # a run killed while it saves still has the one before
    interval=val_interval, save_best='coco/AP', rule='greater'))  # what is saved was evaluated

# input and target ---------------------------------------------------------------------------------
# Stock is 192 x 256, made for upright people.
input_size = (256, 256)  # width, height; multiples of 32
codec = dict(
    type='SimCCLabel',
    input_size=input_size,
    sigma=(5.66, 5.66),  # sqrt(side / 8), as in the stock recipes
    simcc_split_ratio=2.0,
    normalize=False,
    use_dark=False)

# model --------------------------------------------------------------------------------------------
model = dict(
    backbone=dict(
        # SyncBN cannot run on the CPU in several processes; in a single one mmengine makes it BN itself.
        norm_cfg=dict(type='BN')),
    head=dict(
        out_channels=8,
        input_size=input_size,
        in_featuremap_size=(input_size[0] // 32, input_size[1] // 32),
        simcc_split_ratio=codec['simcc_split_ratio'],
        decoder=codec))

# pipelines ----------------------------------------------------------------------------------------
# As stock, but:
# - RandomHalfBody is out: it cuts people at the waist and needs upper and lower keypoints, 9 at least;
# - rotation ends at 30 degrees (stock: 80, then 60): what stands on a road does not lie on its side;
# - Albumentations is out: it brings a second OpenCV, and its arguments differ from version to version.
#   Its CoarseDropout is mmdet's CutOut here; its blur, on a tenth of the pictures, is dropped.
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', scale_factor=[0.6, 1.4], rotate_factor=30),
    dict(type='TopdownAffine', input_size=input_size),
    dict(type='mmdet.YOLOXHSVRandomAug'),
    dict(type='mmdet.CutOut', n_holes=1, cutout_ratio=[(0.2, 0.2), (0.3, 0.3), (0.4, 0.4)]),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
train_pipeline_stage2 = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomBBoxTransform', shift_factor=0., scale_factor=[0.75, 1.25], rotate_factor=30),
    dict(type='TopdownAffine', input_size=input_size),
    dict(type='mmdet.YOLOXHSVRandomAug'),
    dict(type='mmdet.CutOut', n_holes=(0, 1), cutout_ratio=[(0.2, 0.2), (0.3, 0.3), (0.4, 0.4)]),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs')
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=input_size),
    dict(type='PackPoseInputs')
]

# loaders and evaluation ---------------------------------------------------------------------------
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='train_coco.json',
        data_prefix=dict(img='images/'),
        pipeline=train_pipeline,
    ))
# Evaluated on the labelled boxes: no bbox_file.
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val_coco.json',
        data_prefix=dict(img='images/'),
        pipeline=val_pipeline,
    ))
test_dataloader = val_dataloader

# A list is replaced as a whole; new is only the epoch of the switch (a literal in some stock recipes).
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49),
    dict(type='mmdet.PipelineSwitchHook', switch_epoch=max_epochs - stage2_num_epochs,
         switch_pipeline=train_pipeline_stage2),
]

# OKS divides by the area in the file, so that has to be the box's (`posetools validate`, E104).
val_evaluator = dict(ann_file=f'{data_root}/val_coco.json', use_area=True)
test_evaluator = val_evaluator
